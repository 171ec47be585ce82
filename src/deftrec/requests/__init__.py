"""Requests in words: their grammar, the words of the items, and what they add to the score."""

from deftrec.requests.lexicon import Lexicon, Match
from deftrec.requests.parse import LONGEST, ParsedRequest, Unwanted, parse_request
from deftrec.requests.reader import GUIDANCE, REQUEST_TOKENS, ReadRequest, RequestReader, sentence_encoder
from deftrec.requests.templates import RequestWriter

__all__ = ["GUIDANCE", "LONGEST", "REQUEST_TOKENS", "Lexicon", "Match", "ParsedRequest", "ReadRequest"]
__all__ += ["RequestReader", "RequestWriter", "Unwanted", "parse_request", "sentence_encoder"]
