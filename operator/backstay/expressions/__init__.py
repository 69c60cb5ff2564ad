"""CEL in `${ }`: expressions, and values that hold them. Pure: the result follows from the source and the data alone."""

from backstay.expressions.cel import Program, compile_expression, references
from backstay.expressions.format import Json
from backstay.expressions.limits import MAX_COMPREHENSIONS, MAX_LENGTH
from backstay.expressions.template import Template, compile_template, find_expressions, whole_expression

__all__ = [
    "MAX_COMPREHENSIONS",
    "MAX_LENGTH",
    "Json",
    "Program",
    "Template",
    "compile_expression",
    "compile_template",
    "find_expressions",
    "references",
    "whole_expression",
]
