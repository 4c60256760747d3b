"""The corpus that huohou generates itself: documents, dialogues, questions with known answers, and their score."""

from huohou.data.embedded.corpus import GENERATOR_VERSION, completions, documents
from huohou.data.embedded.draw import Split
from huohou.data.embedded.instructions import INSTRUCTIONS_VERSION, embedded_dialogues, instruction
from huohou.data.embedded.questions import KINDS, Question, questions
from huohou.data.embedded.score import Score, score

__all__ = [
    "GENERATOR_VERSION",
    "INSTRUCTIONS_VERSION",
    "KINDS",
    "Question",
    "Score",
    "Split",
    "completions",
    "documents",
    "embedded_dialogues",
    "instruction",
    "questions",
    "score",
]
