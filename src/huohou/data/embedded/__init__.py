"""The corpus that huohou generates itself: documents, questions with known answers, and the score of answers."""

from huohou.data.embedded.corpus import GENERATOR_VERSION, completions, documents
from huohou.data.embedded.draw import Split
from huohou.data.embedded.questions import KINDS, Question, questions
from huohou.data.embedded.score import Score, score

__all__ = [
    "GENERATOR_VERSION",
    "KINDS",
    "Question",
    "Score",
    "Split",
    "completions",
    "documents",
    "questions",
    "score",
]
