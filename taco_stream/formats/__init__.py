"""Other tools' files: one module per format, reading and writing side by side."""

from taco_stream.formats.export import ExportFormat, export
from taco_stream.formats.formats import read_completions
from taco_stream.formats.matching import match_ids
from taco_stream.formats.named_fields import FieldNames

__all__ = ["ExportFormat", "FieldNames", "export", "match_ids", "read_completions"]
