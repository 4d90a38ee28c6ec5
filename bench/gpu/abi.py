"""The C ABI from Python: structs and functions as header.py reads them out of caravan.h."""

import ctypes
import math
import os

import torch

import header

CPU, CUDA = 0, 1
F32, BF16 = 0, 1

_DTYPES = {
    torch.float32: 0,
    torch.bfloat16: 1,
    torch.int32: 2,
    torch.int64: 3,
    torch.float64: 4,
    torch.uint8: 5,
    torch.int16: 6,  # the bits of a u16
}


class Refused(Exception):
    """The library does not do this here: CARAVAN_UNSUPPORTED, with its reason."""


class Failed(Exception):
    """Any other status."""


class Library:
    """libcaravan.so."""

    def __init__(self, path, header_path, cuda_library=None):
        if cuda_library:
            os.environ["CARAVAN_CUDA_LIBRARY"] = str(cuda_library)
        self.constants, self.structs, functions = header.parse(header_path)
        self._library = ctypes.CDLL(str(path))
        self._library.caravan_last_error.restype = ctypes.c_char_p
        self._functions = {}
        for name, kinds in functions.items():
            function = getattr(self._library, name)
            function.argtypes = kinds
            function.restype = ctypes.c_int32
            self._functions[name] = function
        built, known = self._library.caravan_abi_version(), self.constants["CARAVAN_ABI_VERSION"]
        if built != known:
            raise Failed(f"{path} has ABI version {built}, the header {known}")

    def function(self, name):
        return self._functions[name]

    def check(self, status):
        if status == 0:
            return
        message = self._library.caravan_last_error().decode(errors="replace")
        if status == 3:
            raise Refused(message)
        raise Failed(f"status {status}: {message}")

    def call(self, name, *arguments):
        self.check(self._functions[name](*arguments))

    def device(self, kind):
        """How many devices, and why none."""
        count = ctypes.c_int32()
        self.call("caravan_device_count", kind, ctypes.byref(count))
        return count.value, self._library.caravan_last_error().decode() if count.value == 0 else ""

    def device_name(self, kind, index=0):
        name = ctypes.create_string_buffer(256)
        memory = ctypes.c_int64()
        self.call("caravan_device_info", kind, index, ctypes.addressof(name), 256, ctypes.addressof(memory))
        return name.value.decode()

    def tensor(self, value):
        """The view of a torch tensor; its memory must outlive the call."""
        view = self.structs["caravan_tensor"]()
        if value.dim() == 0 or value.dim() > self.constants["CARAVAN_MAX_RANK"]:
            raise ValueError(f"a tensor of rank {value.dim()}")
        span = 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride())) if value.numel() else 0
        view.data = value.data_ptr()
        view.bytes = span * value.element_size()
        view.dtype = _DTYPES[value.dtype]
        view.rank = value.dim()
        for i, (extent, stride) in enumerate(zip(value.shape, value.stride())):
            view.shape[i] = extent
            view.stride[i] = stride
        return view

    def args(self, struct, **fields):
        """An argument block; tensors are torch tensors, what is not named stays absent or 0."""
        block = self.structs[struct]()
        block.size = ctypes.sizeof(block)
        block.kept = [value for value in fields.values() if isinstance(value, torch.Tensor)]
        for name, value in fields.items():
            if name not in dict(block._fields_):
                raise ValueError(f"{struct} has no field {name}")
            setattr(block, name, self.tensor(value) if isinstance(value, torch.Tensor) else value)
        return block

    def workspace_bytes(self, query, kind, block):
        size = ctypes.c_int64()
        self.call(query, kind, ctypes.addressof(block), ctypes.addressof(size))
        return size.value


class Place:
    """Where tensors live and ops run: a stream of one device, and its allocator."""

    def __init__(self, library, device, threads=1):
        self.library = library
        self.device = device
        self.kind = CPU if device == "cpu" else CUDA
        count, reason = library.device(self.kind)
        if count == 0:
            raise Refused(f"no {device} because {reason}")
        self.name = library.device_name(self.kind)
        self.emulated = "emulation" in self.name
        self.on_gpu = self.kind == CUDA and not self.emulated
        self.torch_device = torch.device("cuda:0" if self.on_gpu else "cpu")
        self._hold = []
        stream = ctypes.c_void_p()
        library.call("caravan_stream_create", self.kind, 0, threads, ctypes.addressof(stream))
        self.stream = stream.value
        if self.on_gpu:
            native = ctypes.c_void_p()
            library.call("caravan_stream_native", self.stream, ctypes.addressof(native))
            self.torch_stream = torch.cuda.ExternalStream(native.value, device=self.torch_device)

    def empty(self, shape, dtype):
        """Memory that the device reaches. Off the GPU it is the library's: the emulation only knows its own, and on the
        CPU it comes in large pages, as a run's does."""
        if self.on_gpu:
            return torch.empty(shape, dtype=dtype, device=self.torch_device)
        count = math.prod(shape)
        bytes_ = count * torch.empty((), dtype=dtype).element_size()
        data = ctypes.c_void_p()
        self.library.call("caravan_malloc_host", self.kind, 0, max(bytes_, 1), ctypes.addressof(data))
        buffer = (ctypes.c_char * max(bytes_, 1)).from_address(data.value)
        self._hold.append(data.value)
        return torch.frombuffer(buffer, dtype=dtype, count=count).view(shape)

    def put(self, value):
        """A copy of a tensor in memory of the device."""
        if self.on_gpu:
            return value.to(self.torch_device).contiguous()
        copy = self.empty(value.shape, value.dtype)
        copy.copy_(value)
        return copy

    def release(self):
        """Gives back what `empty` took from the library. Its tensors must be gone."""
        for address in self._hold:
            self.library.call("caravan_free_host", self.kind, 0, address)
        self._hold.clear()

    def zero(self, value):
        """Enqueues zeros for all of a contiguous tensor, as a training step does for its gradients."""
        bytes_ = value.numel() * value.element_size()
        self.library.call("caravan_memset", self.stream, value.data_ptr(), 0, bytes_)

    def prepare(self, op, block):
        """A call without arguments that enqueues the op; fails as the library does."""
        function = self.library.function(f"caravan_{op}")
        address, stream, check = ctypes.addressof(block), self.stream, self.library.check

        def call():
            status = function(stream, address)
            if status:
                check(status)

        call.block = block
        return call

    def synchronize(self):
        self.library.call("caravan_stream_synchronize", self.stream)


_SGEMM = ctypes.CFUNCTYPE(
    None, *[ctypes.c_int] * 6, ctypes.c_float, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int,
    ctypes.c_float, ctypes.c_void_p, ctypes.c_int)


def install_sgemm(library):
    """Gives the CPU kernels torch's product. For proving this driver, not for speed."""

    def matrix(address, rows, columns, leading):
        buffer = (ctypes.c_float * ((rows - 1) * leading + columns)).from_address(address)
        return torch.frombuffer(buffer, dtype=torch.float32).as_strided((rows, columns), (leading, 1))

    def sgemm(order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        left = matrix(a, k, m, lda).t() if transpose_a == 112 else matrix(a, m, k, lda)
        right = matrix(b, n, k, ldb).t() if transpose_b == 112 else matrix(b, k, n, ldb)
        out = matrix(c, m, n, ldc)
        product = alpha * (left @ right)
        out.copy_(product if beta == 0 else product + beta * out)

    library.sgemm = _SGEMM(sgemm)  # kept: the library calls it
    library.call("caravan_set_sgemm", ctypes.cast(library.sgemm, ctypes.c_void_p))
