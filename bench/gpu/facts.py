"""What the machine is, as JSON: device, driver, clocks, the vendor's libraries and where they lie."""

import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys

QUERY = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=15).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def loaded_folders():
    """Folders of the vendor's libraries that this process has loaded."""
    folders = []
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for path in re.findall(r"(/\S+)$", maps.read(), flags=re.M):
            if re.search(r"/lib(cuda|cudart|cublas|cublasLt|cudnn\w*|nccl)\.so", path):
                folder = os.path.dirname(path)
                if folder not in folders:
                    folders.append(folder)
    return folders


def main():
    facts = {
        "machine": platform.machine(), "cores": os.cpu_count(), "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(), "nvcc": (output("nvcc", "--version").splitlines() or [""])[-1],
        "compute_sanitizer": bool(shutil.which("compute-sanitizer")), "cuda": False}
    values = output("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader").splitlines()
    if values:
        facts["nvidia_smi"] = dict(zip(QUERY.split(","), (value.strip() for value in values[0].split(","))))
    import torch

    facts["torch"] = torch.__version__
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        torch.ones(8, 8, device="cuda", dtype=torch.bfloat16) @ torch.ones(8, 8, device="cuda", dtype=torch.bfloat16)
        torch.cuda.synchronize()
        facts.update(
            cuda=True, device=properties.name, capability=properties.major * 10 + properties.minor,
            multiprocessors=properties.multi_processor_count, l2_bytes=properties.L2_cache_size,
            memory_bytes=properties.total_memory, cudnn=torch.backends.cudnn.version(),
            nccl=".".join(map(str, torch.cuda.nccl.version())))
        for name in ("libcublasLt.so.13", "libcublas.so.13"):
            try:
                library = ctypes.CDLL(name)
                version = library.cublasLtGetVersion if "Lt" in name else None
                if version is not None:
                    version.restype = ctypes.c_size_t
                    facts["cublaslt"] = version()
            except OSError as error:
                facts.setdefault("not_loaded", []).append(str(error))
        facts["library_folders"] = loaded_folders()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
