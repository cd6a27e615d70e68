"""The embedded world's questions, answered by its detector: its CompBench, DPG-Bench, GenEval 2.

Prompts, questions and answerer are the world's own; the protocols are those of
:mod:`harness.benchmarks.compbench`, :mod:`~harness.benchmarks.dpg` and
:mod:`~harness.benchmarks.geneval2`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from harness.benchmarks.dpg import Proposition, graph
from harness.benchmarks.geneval import relations
from harness.benchmarks.noun_chunks import noun_chunks
from harness.benchmarks.protocol import Images, Prompt
from harness.benchmarks.questions import Probabilities
from hypernoise.shapeworld.captions import (
    COLORS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    Caption,
    captions,
    plural,
)
from hypernoise.shapeworld.detector import Detection, detect

#: Captions about colours and about shapes alone: the categories that the world has. Counting is
#: another one of T2I-CompBench's, and textures are not drawn.
CATEGORIES = {"color": ("colors", "color_attr"), "shape": ("single_object", "two_object")}
#: Kinds of propositions -> what GenEval 2 calls them; it asks for numbers in another form.
_SKILLS = {"entity": "object", "attribute": "attribute", "relation": "position"}
_COLOR = f"(?P<color>{'|'.join(COLORS)})"
_SINGULAR = {plural(shape): shape for shape in SHAPES}
_SHAPE = f"(?P<shape>{'|'.join([*_SINGULAR, *SHAPES])})"
_OTHER = f"(?P<other>{'|'.join(SHAPES)})"
_NUMBER_OF = {word: number for number, word in NUMBERS.items()} | {"one": 1}
_NUMBER = f"(?P<number>{'|'.join(_NUMBER_OF)})"
_RELATION = f"(?P<relation>{'|'.join(RELATIONS)})"


class DetectorAnswerer:
    """Answers from what the world's analytic detector finds; deterministic.

    Probabilities are the detector's scores under min and max: that there is one is the best
    score among those asked for, that there are n is the n-th best unless there is one more, a
    relation is as sure as the less sure of its two objects.

    The forms, with any of the world's words: ``a red circle?``, ``two circles?``, ``is there a
    circle?``, ``are there any circles?``, ``are there two circles?``, ``is the circle red?``,
    ``is the circle left of the square?``, and, with a number as its answer, ``how many circles
    are in the image?``.
    """

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """As :class:`harness.benchmarks.questions.Answerer` says.

        Raises:
            ValueError: a question has none of the forms.
        """
        return [
            [answer(question, found) for question in those]
            for found, those in zip(map(detect, images), questions, strict=True)
        ]

    def answer_probability(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
    ) -> Probabilities:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says; raises as above."""
        return [
            [_answer_of(*pair, found) for pair in those]
            for found, those in zip(map(detect, images), asked, strict=True)
        ]

    def check_answer(self, question: str, answer: str) -> None:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says; raises as above."""
        _answer_of(question, answer, ())


def answer(question: str, found: Sequence[Detection]) -> float:
    """Probability of yes, in [0, 1].

    Raises:
        ValueError: the question has none of the forms.
    """
    for form, answered in _FORMS:
        match = form.fullmatch(question.lower().strip())
        if match:
            return answered(match.groupdict(), found)
    raise ValueError(
        f"question {question!r} has none of the embedded world's forms, which are those of "
        "'a red circle?', 'two circles?', 'is there a circle?', 'are there any circles?', 'are "
        "there two circles?', 'is the circle red?', 'is the circle left of the square?'"
    )


def compbench(split: str = "evaluation") -> tuple[Prompt, ...]:
    """Captions as T2I-CompBench's prompts: tasks color and shape, noun chunks to ask about.

    Raises:
        ValueError: the split is unknown.
    """
    category_of = {task: name for name, tasks in CATEGORIES.items() for task in tasks}
    found = []
    for caption in captions(split):
        if caption.task in category_of:
            chunks = {"chunks": noun_chunks(caption.text.removeprefix(caption.prefix))}
            name, category = f"compbench_{caption.prompt_id}", category_of[caption.task]
            found.append(Prompt(name, caption.text, category, chunks, caption.meaning))
    return tuple(found)


def dpg(split: str = "evaluation") -> tuple[Prompt, ...]:
    """Captions as DPG-Bench's prompts: objects exist, then have a colour, a number, a place.

    Raises: as :func:`compbench`.
    """
    return tuple(
        Prompt(f"dpg_{c.prompt_id}", c.text, c.task, graph(propositions(c)), c.meaning)
        for c in captions(split)
    )


def geneval2(split: str = "evaluation") -> tuple[Prompt, ...]:
    """Captions as GenEval 2's prompts: every proposition, and one of what is named once.

    Raises: as :func:`compbench`.
    """
    found = []
    for caption in captions(split):
        kinds = [(p.question, p.what.split(" ")[0]) for p in propositions(caption)]
        said = [(question, "Yes", _SKILLS[kind]) for question, kind in kinds if kind in _SKILLS]
        for subject in caption.subjects:
            question = f"How many {plural(subject.shape)} are in the image?"
            said.append((question, NUMBERS.get(subject.count, "one"), "count"))
        atoms = {"vqa_list": [atom[:2] for atom in said], "skills": [atom[2] for atom in said]}
        name = f"geneval2_{caption.prompt_id}"
        found.append(Prompt(name, caption.text, caption.task, atoms, caption.meaning))
    return tuple(found)


def propositions(caption: Caption) -> list[Proposition]:
    """What a caption says, one by one, each after those that it depends on."""
    said: list[Proposition] = []
    roots: list[int] = []
    for subject in caption.subjects:
        shape, several = subject.shape, subject.count > 1
        exists = f"Are there any {plural(shape)}?" if several else f"Is there a {shape}?"
        roots.append(_say(said, (), f"entity - whole ({subject.shape})", exists))
        if subject.color is not None:
            what = f"attribute - color ({subject.shape}, {subject.color})"
            _say(said, roots[-1:], what, f"Is the {subject.shape} {subject.color}?")
        if several:
            what = f"other - count ({subject.shape}, =={subject.count})"
            counted = f"{NUMBERS[subject.count]} {plural(subject.shape)}"
            _say(said, roots[-1:], what, f"Are there {counted}?")
    if caption.relation is not None:
        first, second = (subject.shape for subject in caption.subjects)
        what = f"relation - spatial ({second}, {first}, {caption.relation})"
        _say(said, roots, what, f"Is the {second} {caption.relation} the {first}?")
    return said


def _say(said: list[Proposition], parents: Sequence[int], what: str, question: str) -> int:
    said.append(Proposition(len(said) + 1, tuple(parents), what, question))
    return len(said)


def _scores(found: Iterable[Detection], shape: str, color: str | None) -> list[float]:
    name = _SINGULAR.get(shape, shape)
    fitting = (d.score for d in found if d.shape == name and color in (None, d.color))
    return sorted(fitting, reverse=True)


def _exists(words: dict[str, str], found: Sequence[Detection]) -> float:
    return max(_scores(found, words["shape"], words.get("color")), default=0.0)


def _counted(words: dict[str, str], found: Sequence[Detection]) -> float:
    number = _NUMBER_OF[words["number"]]
    scores = [*_scores(found, words["shape"], words.get("color")), *[0.0] * (number + 1)]
    return min(scores[number - 1], 1 - scores[number])


def _related(words: dict[str, str], found: Sequence[Detection]) -> float:
    pairs = (
        min(one.score, other.score)
        for one in found
        for other in found
        if one.shape == words["shape"]
        and other.shape == words["other"]
        and words["relation"] in relations(one.box, other.box)
    )
    return max(pairs, default=0.0)


def _answer_of(question: str, expected: str, found: Sequence[Detection]) -> float:
    match = re.fullmatch(rf"how many {_SHAPE} are in the image\?", question.lower())
    if match is None and expected.lower() == "yes":
        return answer(question, found)
    if match is None or expected not in _NUMBER_OF:
        raise ValueError(f"the embedded world cannot say whether {question!r} has {expected!r}")
    return _counted({**match.groupdict(), "number": expected}, found)


_Answered = Callable[[dict[str, str], Sequence[Detection]], float]
_FORMS: tuple[tuple[re.Pattern[str], _Answered], ...] = tuple(
    (re.compile(form), answered)
    for form, answered in (
        (rf"(?:an?|the) (?:{_COLOR} )?{_SHAPE}\?", _exists),
        (rf"is there an? (?:{_COLOR} )?{_SHAPE}\?", _exists),
        (rf"are there any (?:{_COLOR} )?{_SHAPE}\?", _exists),
        (rf"(?:is|are) the {_SHAPE} {_COLOR}\?", _exists),
        (rf"(?:are there )?{_NUMBER} (?:{_COLOR} )?{_SHAPE}\?", _counted),
        (rf"is the {_SHAPE} {_RELATION} the {_OTHER}\?", _related),
    )
)
