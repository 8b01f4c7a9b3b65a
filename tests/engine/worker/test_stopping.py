"""Stop strings are found with the token that completes them, and the text is trimmed as the original trims."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from taco_stream.engine.worker.stopping import StopStringDetector

ORIGINAL = ("\nQUESTION", "\n---", "\nANSWER", "<|endoftext|>")


@cache
def byte_level() -> Any:
    """GPT-2's scheme: tokens are bytes and pairs of them, so that characters are cut anywhere."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("-", "-"),
        ("Ċ", "--"),
        ("Ċ--", "-"),
        ("Ċ", "Q"),
        ("U", "E"),
        ("UE", "S"),
        ("Ã", "©"),
        ("a", "b"),
        ("Ġ", "a"),
    ]
    tokens = ["<pad>", "<s>", "</s>", *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: rank for rank, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return fast(tokenizer)


@cache
def metaspace() -> Any:
    """Llama's scheme: ▁ for spaces, bytes for what has no piece, and the first space of a text is not written."""
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefQUESTIONA-é\n"]
    merges = [("-", "-"), ("\n", "-"), ("▁", "a"), ("▁", "-"), ("U", "E"), ("Q", "UE"), ("b", "▁")]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: rank for rank, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return fast(tokenizer)


@cache
def word_piece() -> Any:
    """BERT's scheme: spaces are not in the tokens but between them, and decoding tidies them."""
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *"abcdef-.,!?'\n", *(f"##{letter}" for letter in "abcdef-.")]
    tokenizer = Tokenizer(models.WordPiece({piece: rank for rank, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    tokenizer.decoder = decoders.WordPiece()
    return fast(tokenizer, clean_up_tokenization_spaces=True)


@cache
def slow() -> Any:
    """A tokenizer written in Python, of single bytes."""
    return ByT5Tokenizer()


def fast(tokenizer: Tokenizer, **options: Any) -> Any:
    options = {"clean_up_tokenization_spaces": False} | options
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", **options
    )


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "metaspace": metaspace,
    "word-piece": word_piece,
    "slow": slow,
}
every_tokenizer = pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)


def truncated(text: str, stop_strings: tuple[str, ...]) -> str:
    """What the original makes of a whole text (`generation.py`, `truncate_after_eof_strings`)."""
    match = re.search("|".join(map(re.escape, stop_strings)), text)
    return text[: match.start()] if match else text


def feed_until_found(detector: StopStringDetector, tokens: list[int]) -> int | None:
    """The number of tokens after which a stop string is reported."""
    return next((count for count, token in enumerate(tokens, 1) if detector.feed(token)), None)


def first_with_stop(tokenizer: Any, tokens: list[int], stop_strings: tuple[str, ...]) -> int | None:
    """The same by decoding everything after every token."""
    for count in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:count], skip_special_tokens=True)
        if any(stop in text for stop in stop_strings):
            return count
    return None


PIECES = ["\n", "-", "--", "---", "\nQ", "QUESTION", "\nQUES", "é", "é\n", "€", " ", "a", "ab", " a", "\nANSWER", "🙂"]
STOPS = ["\n---", "\nQUESTION", "--", "-", "é-", "€", "🙂a", " a", "ab", "aba", "\n", "b a", "."]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
stop_lists = st.lists(st.sampled_from(STOPS), min_size=1, max_size=4).map(tuple)


@every_tokenizer
def test_a_token_beyond_the_vocabulary_is_counted_and_adds_no_text(make: Callable[[], Any]) -> None:
    tokenizer = make()
    detector = StopStringDetector(tokenizer, ("c",))
    first, *others = tokenizer.encode("abc", add_special_tokens=False)
    beyond = max(tokenizer.get_vocab().values()) + 1
    assert feed_until_found(detector, [beyond, first, beyond, *others]) == detector.token_count == len(others) + 3
    assert detector.text() == truncated(tokenizer.decode([first, *others], skip_special_tokens=True), ("c",))


@every_tokenizer
@settings(max_examples=60, deadline=None)
@given(data=st.data(), text=texts, stop=st.sampled_from(STOPS))
def test_found_with_the_very_token_that_completes_it(
    make: Callable[[], Any], data: st.DataObject, text: str, stop: str
) -> None:
    tokenizer, stop_strings = make(), (stop,)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    strange = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=6))
    place = data.draw(st.integers(0, len(tokens)))
    tokens = tokens[:place] + strange + tokens[place:]
    detector = StopStringDetector(tokenizer, stop_strings)
    count = feed_until_found(detector, tokens)
    assert count == first_with_stop(tokenizer, tokens, stop_strings)
    assert detector.text() == truncated(tokenizer.decode(tokens[:count], skip_special_tokens=True), stop_strings)


@pytest.mark.parametrize("make", [byte_level, metaspace, slow])
@settings(max_examples=60, deadline=None)
@given(text=texts, stop_strings=stop_lists)
def test_text_is_that_of_generating_on_and_truncating_afterwards(
    make: Callable[[], Any], text: str, stop_strings: tuple[str, ...]
) -> None:
    tokenizer = make()
    tokens = tokenizer.encode(text, add_special_tokens=False)
    detector = StopStringDetector(tokenizer, stop_strings)
    count = feed_until_found(detector, tokens)
    completed = first_with_stop(tokenizer, tokens, stop_strings)
    assert count is None or (completed is not None and completed <= count <= completed + 12)
    assert detector.text() == truncated(tokenizer.decode(tokens, skip_special_tokens=True), stop_strings)


@pytest.mark.parametrize(
    ("text", "count", "kept"),
    [("a\n--", None, "a\n"), ("a\n---", 5, "a"), ("a\n--b", 5, "a\n"), ("a\n--é", 6, "a"), ("a\n--è", 6, "a\n")],
)
def test_stop_string_waits_for_one_that_began_before(text: str, count: int | None, kept: str) -> None:
    tokenizer = slow()
    detector = StopStringDetector(tokenizer, ("--", "\n---", "\n--é"))
    assert feed_until_found(detector, tokenizer.encode(text, add_special_tokens=False)) == count
    assert detector.text() == kept


@every_tokenizer
def test_long_text_without_a_stop_string_is_kept_whole(make: Callable[[], Any]) -> None:
    tokenizer = make()
    tokens = tokenizer.encode("abc def " * 30, add_special_tokens=False)
    detector = StopStringDetector(tokenizer, ("---",))
    assert feed_until_found(detector, tokens) is None
    assert detector.text() == tokenizer.decode(tokens, skip_special_tokens=True)


@every_tokenizer
def test_stop_string_is_found_after_a_long_text(make: Callable[[], Any]) -> None:
    tokenizer = make()
    tokens = tokenizer.encode("abc def " * 30 + "fade", add_special_tokens=False)
    count = feed_until_found(StopStringDetector(tokenizer, ("fad",)), tokens)
    assert count == first_with_stop(tokenizer, tokens, ("fad",)) is not None


def test_character_split_over_tokens_completes_a_stop_string() -> None:
    tokenizer = slow()
    detector = StopStringDetector(tokenizer, ("€",))
    assert [detector.feed(byte + 3) for byte in "a€b".encode()] == [False, False, False, True, True]
    assert detector.text() == "a"


def test_stop_string_in_the_first_token_leaves_nothing() -> None:
    tokenizer = byte_level()
    (token,) = tokenizer.encode("\n---", add_special_tokens=False)
    detector = StopStringDetector(tokenizer, ORIGINAL)
    assert detector.feed(token)
    assert detector.text() == ""


def test_earliest_of_several_stop_strings_cuts() -> None:
    tokenizer = byte_level()
    detector = StopStringDetector(tokenizer, ("-b", "a-"))
    feed_until_found(detector, tokenizer.encode("x a-b", add_special_tokens=False))
    assert detector.text() == "x "


def test_prefix_of_another_stop_string_ends_first() -> None:
    tokenizer = byte_level()
    detector = StopStringDetector(tokenizer, ("QUESTION", "QUE"))
    tokens = tokenizer.encode("aQUESTION", add_special_tokens=False)
    count = feed_until_found(detector, tokens)
    assert count is not None
    assert "QUESTION" not in tokenizer.decode(tokens[:count])
    assert detector.text() == "a"


def test_special_tokens_between_do_not_hide_a_stop_string() -> None:
    tokenizer = byte_level()
    tokens = tokenizer.encode("-", add_special_tokens=False)
    detector = StopStringDetector(tokenizer, ("--",))
    assert feed_until_found(detector, [*tokens, tokenizer.bos_token_id, *tokens]) == 3


def test_text_of_a_special_token_is_no_stop_string() -> None:
    tokenizer = byte_level()
    assert not StopStringDetector(tokenizer, ("</s>",)).feed(tokenizer.eos_token_id)


def test_space_that_decoding_leaves_out_is_no_stop_string() -> None:
    tokenizer = metaspace()
    (token,) = tokenizer.encode("a", add_special_tokens=False)
    detector = StopStringDetector(tokenizer, (" a",))
    assert not detector.feed(token)
    assert detector.feed(token)
    assert detector.text() == "a"


def test_nothing_is_found_without_stop_strings() -> None:
    tokenizer = byte_level()
    detector = StopStringDetector(tokenizer, ("",))
    assert feed_until_found(detector, tokenizer.encode("a\n---", add_special_tokens=False)) is None
    assert detector.text() == "a\n---"


def test_tokens_beyond_the_tokenizer_write_nothing() -> None:
    tokenizer = byte_level()
    detector = StopStringDetector(tokenizer, ("a",))
    assert not detector.feed(len(tokenizer) + 40)
    assert detector.text() == ""
