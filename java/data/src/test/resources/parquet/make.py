"""Makes the Parquet files of ParquetRecordsTest by Apache Arrow: pip install pyarrow; python make.py"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent

rows = [
    {"prompt": "2 + 2?", "target": "4", "n": 4, "weight": 0.5, "ok": True, "tags": ["sum", "short"]},
    {"prompt": "Größe\n\"q\"", "target": "é", "n": None, "weight": -1e-3, "ok": False, "tags": []},
    {"prompt": "", "target": "none", "n": 1 << 40, "weight": 2.0, "ok": None, "tags": None},
]
pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet", compression="zstd")

chats = [
    {"messages": [{"role": "user", "content": f"hi {i}"}, {"role": "assistant", "content": "yo"}]}
    for i in range(5)
]
pq.write_table(
    pa.Table.from_pylist(chats), folder / "chats.parquet", compression="snappy", row_group_size=2
)
