#!/usr/bin/env python3
"""Turns the results of bench/gpu/run, or of kernels.py alone, into tables and a roofline plot.

    report.py FOLDER [--summary | --json]      writes report.md and roofline.svg into FOLDER; --summary prints the tables,
                                               --json all results as one object"""

import argparse
import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape


def read(folder, name):
    path = folder / name
    return json.loads(path.read_text()) if path.is_file() else None


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}g}"


def rate(result):
    if "seconds" not in result:
        return result["state"]
    if result["flops"]:
        return f"{result['flops_per_s'] / 1e12:.1f} TFLOP/s"
    return f"{result['bytes_per_s'] / 1e9:,.0f} GB/s"


def share(result):
    return f"{100 * result['roof_share']:.1f} %" if "roof_share" in result else "-"


def kernel_rows(document):
    rows = [["op", "shape", "us", "rate", "of roof", "error", "peer: us, ours is x faster, our error / its"]]
    for result in document["results"]:
        peers = []
        for name, peer in result.get("peers", {}).items():
            if "seconds" not in peer:
                peers.append(f"{name}: {peer['state']}")
                continue
            ratio = f", x{peer['ratio']:.2f}" if "ratio" in peer else ""
            error = f", {peer['error_ratio']:.2f}" if "error_ratio" in peer else ""
            peers.append(f"{name}: {1e6 * peer['seconds']:.1f}{ratio}{error}")
        rows.append([
            f"{result['op']} {result['variant']}".strip(), f"{result['shape']} {result['dtype']}",
            f"{1e6 * result['seconds']:.1f}" if "seconds" in result else "-", rate(result), share(result),
            number(result.get("error"), 2), "; ".join(peers) or "-"])
    return rows


def markdown(rows):
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return lines + ["| " + " | ".join(row) + " |" for row in rows[1:]]


def roof_lines(roof):
    """Which copy the shares are of."""
    if not roof or "copies_bytes_per_s" not in roof:
        return []
    others = ", ".join(f"{name} {value / 1e9:,.0f}" for name, value in roof["copies_bytes_per_s"].items())
    return [f"The copy is the fastest of these, in GB/s read and written: {others}.", ""]


def stage_line(name, stage):
    """One line a stage."""
    text = "ok" if stage["ok"] else "NOT OK"
    if "passed" in stage:
        text += f", {stage['passed']} of {stage['of']} programs"
        bad = [name for name, one in stage["programs"].items() if one["state"] != "passed"]
        text += f" (not: {', '.join(bad)})" if bad else ""
    elif name == "facts":
        text += f", {stage.get('device', 'no GPU')}, torch {stage.get('torch')}"
        if "nvidia_smi" in stage:
            text += f", driver {stage['nvidia_smi']['driver_version']}, SM {stage['nvidia_smi']['clocks.sm']}"
    elif name == "nccl" and "rows" in stage:
        largest = max(row["bytes"] for row in stage["rows"])
        rates = [f"{row['kind']} {row['bytes_per_s'] / 1e9:,.0f}" for row in stage["rows"] if row["bytes"] == largest]
        text += f", {stage['ranks']} ranks by {stage['library']}, GB/s of {largest:,} bytes: {', '.join(rates)}"
    elif name == "training":
        for part in ("agree_fp32", "agree_bf16"):
            one = stage.get(part, {})
            if "worst_loss_difference" in one:
                text += (f"; {part[6:]}: first loss off by {one['first_loss_difference']:.1e}, worst of "
                         f"{one.get('judged_steps', one['steps'])} steps {one['worst_loss_difference']:.1e}, {one['first_loss']:.3f} -> {one['last_loss']:.3f}")
            elif "message" in one:
                text += f"; {part[6:]}: {one['message'].strip().splitlines()[-1][:120]}"
        fast = stage.get("speed", {})
        if "tokens_per_s" in fast:
            text += f"; {fast['tokens_per_s']:,.0f} tokens/s"
            text += f", {100 * fast['peak_share']:.1f} % of peak" if "peak_share" in fast else ""
            text += f", Java {100 * fast['java_share']:.2f} %" if "java_share" in fast else ""
        elif "message" in fast:
            text += f"; speed: {(fast['message'].strip().splitlines() or [''])[-1][:120]}"
        table = stage.get("bench", {})
        if "results" in table:
            refused = sum("seconds" not in one for one in table["results"])
            text += f"; bench kernels: {len(table['results']) - refused} measured, {refused} refused"
        elif "message" in table:
            text += f"; bench kernels: {(table['message'].strip().splitlines() or [''])[-1][:120]}"
        for one in table.get("products", []):
            text += f"; {one['op']} {one['shape']} from Java at {one['ratio']:.3f} of C++'s rate"
    elif name == "kernels" and "measured" in stage:
        text += f", {stage['measured']} measured, {stage['not built']} not built, {stage['failed']} failed"
        text += "" if stage["complete"] else ", cut short"
        if stage.get("roof"):
            text += (f"; copy {stage['roof']['copy_bytes_per_s'] / 1e9:,.0f} GB/s ({stage['roof']['copy']}), product "
                     f"{stage['roof']['product_flops_per_s'] / 1e12:.0f} TFLOP/s")
    elif name == "sanitizer" and "memcheck" in stage:
        text += "; " + ", ".join(
            f"{check} {stage[check].get('passed', 0)}/{stage[check].get('of', 0)}"
            for check in ("memcheck", "racecheck", "synccheck"))
    if "message" in stage:
        text += f": {stage['message'][:160]}"
    return f"{name:<12} {stage.get('seconds', 0):6.1f} s  {text}"


def short_kernel_lines(document):
    """One line a kernel, for a terminal."""
    lines = []
    for result in document["results"]:
        name = " ".join(filter(None, (result["op"], result["variant"], result["shape"], result["dtype"])))
        if "seconds" not in result:
            lines.append(f"{name[:62]:<62} {result['state']}: {result.get('message', '')[:60]}")
            continue
        peers = " ".join(
            f"x{peer['ratio']:.2f}" if "ratio" in peer else "x-" for peer in result.get("peers", {}).values())
        lines.append(
            f"{name[:62]:<62} {1e6 * result['seconds']:9.1f} us {rate(result):>14} {share(result):>8} "
            f"err {number(result.get('error'), 2):>7} {peers}")
    return lines


def plot(document):
    """Attained rate against FLOPs a byte, under the measured copy and product. Ops without a count of FLOPs lie at the
    left edge, by their share of the copy."""
    roof = document.get("roof")
    points = [result for result in document["results"] if "roof_share" in result]
    if roof is None or not points:
        return None
    width, height, margin = 900, 520, 60
    low, high = 0.5, 4096.0
    top = roof["product_flops_per_s"]
    bottom = min(roof["copy_bytes_per_s"] * low * 0.2, top / 1e4)

    def x(intensity):
        return margin + (width - 2 * margin) * math.log(intensity / low) / math.log(high / low)

    def y(flops):
        return height - margin - (height - 2 * margin) * math.log(flops / bottom) / math.log(2 * top / bottom)

    ridge = top / roof["copy_bytes_per_s"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">', f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{margin}" y="24" font-size="14">{escape(document["device"])}: copy '
        f'{roof["copy_bytes_per_s"] / 1e9:,.0f} GB/s, bf16 product {top / 1e12:.0f} TFLOP/s, both measured</text>',
        f'<polyline fill="none" stroke="black" stroke-width="1.5" points="{x(low):.1f},'
        f'{y(roof["copy_bytes_per_s"] * low):.1f} {x(ridge):.1f},{y(top):.1f} {x(high):.1f},{y(top):.1f}"/>',
        f'<text x="{width / 2}" y="{height - 16}" text-anchor="middle">FLOPs a byte of device memory</text>',
        f'<text x="16" y="{height / 2}" transform="rotate(-90 16 {height / 2})" text-anchor="middle">FLOP/s</text>']
    for power in range(0, 13, 2):
        parts.append(f'<text x="{x(2**power):.1f}" y="{height - margin + 16}" text-anchor="middle">{2**power}</text>')
    for exponent in range(math.ceil(math.log10(bottom)), math.floor(math.log10(2 * top)) + 1):
        parts.append(f'<text x="{margin - 6}" y="{y(10.0**exponent) + 4:.1f}" text-anchor="end">1e{exponent}</text>')
    for result in points:
        intensity = max(result["flops"] / result["bytes"], 1.0) if result["flops"] else 1.0
        flops = result["roof_share"] * min(top, intensity * roof["copy_bytes_per_s"])
        if result["flops"]:
            flops = result["flops_per_s"]
        label = escape(f'{result["op"]} {result["variant"]} {result["shape"]}: {share(result)}')
        colour = "#1f77b4" if result["flops"] else "#d62728"
        parts.append(
            f'<circle cx="{x(min(intensity, high)):.1f}" cy="{y(max(flops, bottom)):.1f}" r="4" fill="{colour}" '
            f'fill-opacity="0.7"><title>{label}</title></circle>')
    parts.append(
        f'<text x="{width - margin}" y="{height - margin - 8}" text-anchor="end">red: no FLOPs counted, drawn at 1 by '
        'the share of the copy</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    results, kernels = read(chosen.folder, "results.json"), read(chosen.folder, "kernels.json")
    if results is None and kernels is None:
        parser.error(f"{chosen.folder} has neither results.json nor kernels.json")
    lines, printed = [], []
    if results is not None:
        stages = [stage_line(name, stage) for name, stage in results["stages"].items()]
        lines += [f"# GPU run of {results['date']}, commit {results['commit']}", "", "```", *stages, "```", ""]
        printed += stages
    if kernels is not None:
        lines += [f"## Kernels on {kernels['device']}, torch {kernels['torch']}", "", *roof_lines(kernels.get("roof"))]
        lines += markdown(kernel_rows(kernels))
        printed = short_kernel_lines(kernels) + [""] + printed
        drawn = plot(kernels)
        if drawn is not None:
            (chosen.folder / "roofline.svg").write_text(drawn)
    (chosen.folder / "report.md").write_text("\n".join(lines) + "\n")
    if chosen.json:
        print(json.dumps({"results": results, "kernels": kernels}, indent=1))
    elif chosen.summary:
        print("\n".join(printed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
