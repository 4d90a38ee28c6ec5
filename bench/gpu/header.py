"""Reads caravan.h: its structs as ctypes classes, so that a driver cannot drift from the header."""

import ctypes
import re

_SCALARS = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "int": ctypes.c_int,
}


def _bare(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"^\s*#(?!define).*$", " ", text, flags=re.M)


def parse(path):
    """Constants, structs (as ctypes classes) and functions (name -> argument types) of the header."""
    with open(path, encoding="utf-8") as file:
        text = _bare(file.read())
    constants = {n: int(v) for n, v in re.findall(r"#define\s+(\w+)\s+(\d+)\s*$", text, flags=re.M)}
    structs = {}

    def scalar(name):
        if name in _SCALARS:
            return _SCALARS[name]
        if name in structs:
            return structs[name]
        raise ValueError(f"{path}: unknown type {name}")

    for name, body in re.findall(r"typedef\s+struct\s+(\w+)\s*\{(.*?)\}\s*\w+\s*;", text, flags=re.S):
        fields = []
        for declaration in filter(None, (d.strip() for d in body.split(";"))):
            match = re.fullmatch(r"(?:const\s+)?(\w+)\s*(\*?)\s*(\w+)(?:\[(\w+)\])?", declaration)
            if match is None:
                raise ValueError(f"{path}: field '{declaration}' of {name} is not understood")
            kind, pointer, field, extent = match.groups()
            type_ = ctypes.c_void_p if pointer else scalar(kind)
            if extent:
                type_ = type_ * (constants.get(extent) or int(extent))
            fields.append((field, type_))
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})

    functions = {}
    for name, parameters in re.findall(r"CARAVAN_API\s+caravan_status\s+(\w+)\s*\((.*?)\)\s*;", text, flags=re.S):
        kinds = []
        for parameter in parameters.split(","):
            parameter = parameter.strip()
            word = parameter.replace("const ", "").split()[0].rstrip("*")
            handle = word in ("caravan_stream", "caravan_event", "caravan_graph")
            kinds.append(ctypes.c_void_p if "*" in parameter or handle else scalar(word))
        functions[name] = kinds
    return constants, structs, functions
