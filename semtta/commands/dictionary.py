"""``semtta dictionary``: action names that the priors know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from semtta.commands.options import DictionaryFile
from semtta.messages import out, say

if TYPE_CHECKING:  # everything heavy is imported when a command runs
    from semtta.jobs.labels import Vocabulary

app = typer.Typer(help="Action names that the priors know.", no_args_is_help=True)


def _vocabulary(dictionary: Path | None) -> Vocabulary:
    from semtta.jobs.labels import Vocabulary
    from semtta.motion.dictionary import Dictionary
    from semtta.motion.user_dictionary import UserDictionary

    return Vocabulary(Dictionary.load(), UserDictionary.load(dictionary))


@app.command("ls")
def dictionary_ls(dictionary: DictionaryFile = None) -> None:
    """Every name, and the other ways to say it."""
    vocabulary = _vocabulary(dictionary)
    shipped = vocabulary.dictionary
    others: dict[str, list[str]] = {name: [] for name in vocabulary.names}
    for phrase, index in zip(shipped.phrases, shipped.phrase_label.tolist()):
        name = vocabulary.added.resolve(shipped.labels[index])
        if phrase.lower() != name.lower():
            others[name].append(phrase)
    for phrase, name in vocabulary.added.phrases.items():
        others[name].append(phrase)
    own = set(vocabulary.added.names)
    for name, phrases in others.items():
        mark = " [green](yours)[/green]" if name in own else ""
        said = f"  {escape(', '.join(phrases))}" if phrases else ""
        out.print(f"[bold]{escape(name)}[/bold]{mark}{said}", highlight=False, soft_wrap=True)


@app.command("search")
def dictionary_search(
    text: Annotated[str, typer.Argument(help="Any text that you would give as a label.")],
    dictionary: DictionaryFile = None,
) -> None:
    """What the priors make of a text: a name, parts of it, or nothing they know."""
    vocabulary = _vocabulary(dictionary)
    shipped, own = vocabulary.dictionary, vocabulary.added.resolve(text)
    is_own = own in vocabulary.added.names
    if is_own and own in vocabulary.added.motions:
        say(f"'{text}' is your name '{own}', understood through its motion.")
        return
    ranked, reading, reader = shipped.ranked(own), shipped.read(own), shipped.reader
    if is_own:
        say(f"'{text}' is your name '{own}', understood through its words:")
    elif reading.kind == "name":
        say(f"'{text}' is the dictionary's '{reading.names[0]}'.")
    elif reading.kind == "parts":
        names = reading.names
        say(f"'{text}' is read as {' + '.join(names)}; legs and root from '{names[0]}'.")
    elif reading.kind == "near":
        say(f"'{text}' is not in the dictionary; it is read as a mixture, by {reader.by}:")
    else:
        say(reading.remark(reader.by))
    for name, nearness in ranked:
        say(f"  {nearness:.2f}  {name}")
