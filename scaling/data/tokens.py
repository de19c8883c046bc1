"""From captions to tokens: a tokenizer that is learnt from the data's own, or read from a file.

Token 0 ends a text and fills it up to its length, so the last token of every text is 0; what the
tokenizer itself calls token k is k + 1 here. The work is that of the library `tokenizers`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.errors import UserError
from scaling.base.config import Config
from scaling.base.files import expanded
from scaling.data.captions import all_texts
from scaling.data.source import SourceConfig, missing

if TYPE_CHECKING:
    import tokenizers

BYTES = 256  # tokens that every trained vocabulary has, so that no text is unknown to it
LOOKED_AT = 100_000  # training captions that are looked at before training
ENCODED = 2_000  # the longest of these, whose tokens are counted: 0.04 ms each
END = 0


class TokensConfig(Config, ABC):
    """What all tokenizers have."""

    length: int = Field(default=64, ge=2, le=10**5)
    """Tokens of every text, the one that ends it included."""
    truncate: bool = False
    """Whether of a longer text the first `length - 1` tokens are taken; else it is an error."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Different tokens, `END` included."""

    @abstractmethod
    def tokenizer(self, source: SourceConfig) -> Tokenizer:
        """The tokenizer for the captions of this source, which has some; made once a process.

        Raises:
          UserError: there is none, or the library is missing.
        """

    @abstractmethod
    def faults(self) -> Iterator[str]:
        """Why there is no tokenizer here, in sentences; looks at no captions."""

    def missing(self, source: SourceConfig) -> Iterator[str]:
        """The same, with a look at the training captions; evaluations cut what is too long."""
        if found := [*library_missing(), *self.faults()]:
            yield from found
            return
        try:
            tokenizer = self.tokenizer(source)
            if not self.truncate:
                yield from _too_long(tokenizer, source)
        except (ValueError, UserError) as error:
            yield str(error)


class TrainedTokens(TokensConfig):
    """Byte-pair encoding of bytes (Sennrich et al. 2016; bytes as in GPT-2), learnt from captions
    of the data. Texts are lower-cased."""

    kind: Literal["trained"] = "trained"
    vocabulary: int = Field(default=512, gt=BYTES, le=10**6)
    """Different tokens: every byte, what ends a text, and the commonest sequences."""
    captions: int = Field(default=10_000, gt=0, le=10**7)
    """So many training captions it is learnt from, always the same: the first ones of the fixed
    permutation that data sizes are taken from, whichever of them a run sees; of images with several
    captions, all of so many images."""

    @property
    def size(self) -> int:
        return self.vocabulary

    def faults(self) -> Iterator[str]:
        yield from ()

    def tokenizer(self, source: SourceConfig) -> Tokenizer:
        return Tokenizer(_trained(self.vocabulary, self.captions, source), self)


class FileTokens(TokensConfig):
    """A file that the library `tokenizers` wrote. Texts are given to it as they are; special tokens
    that it would put around them are left out."""

    kind: Literal["file"] = "file"
    path: Path
    """The file, `tokenizer.json`."""

    @property
    def size(self) -> int:
        return 2 + max(_read(self.path, self._modified()).get_vocab().values())

    def faults(self) -> Iterator[str]:
        try:
            _ = self.size
        except UserError as error:
            yield str(error)

    def tokenizer(self, source: SourceConfig) -> Tokenizer:
        del source
        return Tokenizer(_read(self.path, self._modified()), self)

    def _modified(self) -> int:
        if problem := missing(expanded(self.path)):
            raise UserError([f"tokens: {problem}"])
        return expanded(self.path).stat().st_mtime_ns


Tokens: TypeAlias = Annotated[TrainedTokens | FileTokens, Field(discriminator="kind")]


class Tokenizer:
    """From texts to tokens of one length."""

    def __init__(self, inner: tokenizers.Tokenizer, config: TokensConfig):
        self._inner, self._config = inner, config

    @property
    def sha256(self) -> str:
        """Of the tokenizer as the library writes it."""
        return hashlib.sha256(self._inner.to_str().encode()).hexdigest()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, with the one that ends it."""
        return [1 + len(ids) for ids in self._ids(texts)]

    def encode(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens of texts, [n, length].

        Raises:
          UserError: a text is longer than all may be, and none is to be cut.
        """
        return self._padded(texts, self._config.truncate)

    def encode_cut(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """The same, of texts that may be cut."""
        return self._padded(texts, truncate=True)

    def _padded(self, texts: Sequence[str], truncate: bool) -> NDArray[np.int32]:
        room = self._config.length - 1
        found = np.full((len(texts), room + 1), END, np.int32)
        for row, (text, ids) in enumerate(zip(texts, self._ids(texts), strict=True)):
            if len(ids) > room and not truncate:
                raise UserError([_longer(self._config.length, 1 + len(ids), text)])
            found[row, : min(room, len(ids))] = np.asarray(ids[:room], np.int32) + 1
        return found

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [each.ids for each in found]


def library_missing() -> Iterator[str]:
    """Says how to get the library, where it is not installed."""
    try:
        import tokenizers
    except ImportError:
        yield (
            "captions are made into tokens by the package tokenizers, which is not installed; "
            "pip install 'vit-scaling-laws[text]'."
        )
    else:
        del tokenizers


def _library() -> Any:
    if found := list(library_missing()):
        raise UserError(found)
    import tokenizers

    return tokenizers


@lru_cache(maxsize=8)
def _trained(vocabulary: int, captions: int, source: SourceConfig) -> tokenizers.Tokenizer:
    _library()
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    learnt.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
    )
    learnt.train_from_iterator(all_texts(source.captions(captions)), trainer)
    return learnt


@lru_cache(maxsize=8)
def _read(path: Path, modified: int) -> tokenizers.Tokenizer:
    del modified  # another time, another file
    try:
        found = _library().Tokenizer.from_file(str(expanded(path)))
    except UserError:
        raise
    except Exception as error:  # the library has no class of its own for this
        why = str(error).splitlines()[0] if str(error) else repr(error)
        raise UserError([f"tokens: {path} is no file of the package tokenizers: {why}"]) from None
    found.no_padding()
    found.no_truncation()
    return found


def _too_long(tokenizer: Tokenizer, source: SourceConfig) -> Iterator[str]:
    """Of the training captions, those that are longer than texts may be."""
    most = tokenizer._config.length
    texts = all_texts(source.captions(LOOKED_AT))
    longest = nlargest(ENCODED, texts, key=len)
    lengths = np.array(tokenizer.lengths(longest))
    if (over := int((lengths > most).sum())) > 0:
        first = int(lengths.argmax())
        yield (
            f"{'at least ' if over == ENCODED else ''}{over:_} of {len(texts):_} training captions "
            "are longer than the text tower sees: "
            + _longer(most, int(lengths[first]), longest[first])
        )


def _longer(most: int, found: int, text: str) -> str:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return (
        f"{shown!r} is {found} tokens with the one that ends it, and length = {most}; give "
        f"tokens = {{ length = {found} }}, a larger vocabulary, or truncate = true."
    )
