"""Other tools' files: one module per format, reading and writing side by side."""

from taco_stream.formats.formats import export, find_format, read_completions
from taco_stream.formats.named_fields import FieldNames
from taco_stream.formats.samples import match_ids
from taco_stream.types import ExportFormat

__all__ = ["ExportFormat", "FieldNames", "export", "find_format", "match_ids", "read_completions"]
