"""The tokenizer loses nothing, and is learnt from train alone."""

import pytest
from data_fixtures import folder, refuse
from hypothesis import given, settings
from hypothesis import strategies as st

from paramalloc.data import EOT, EOT_TEXT, prepare, tokenizer
from paramalloc.errors import DataError


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip(corpus, text):
    """decode(encode(x)) == x for any text."""
    ids = corpus.tokenizer.encode(text).ids
    assert corpus.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert EOT not in ids


ODD = [EOT_TEXT, f"a{EOT_TEXT}b", "\x00\r\n\t  \u200b", "e\u0301 👩‍👩‍👧 \ufffd", " x ", "\ufeff"]


@pytest.mark.parametrize("text", ODD)
def test_round_trip_of_odd_text(corpus, text):
    """Special text, control characters, joiners and marks come back as they were."""
    ids = corpus.tokenizer.encode(text).ids
    assert corpus.tokenizer.decode(ids, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("ab' \n\t\r.1\u00a0\u3000\x1c\x85é'slt")))
def test_pieces_change_no_token(corpus, text):
    """A long document cut in pieces has the tokens of the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "PIECE_CHARS", 3)
        pieces = tokenizer.cut_pieces(text)
    assert "".join(pieces) == text
    encodings = [corpus.tokenizer.encode(piece) for piece in pieces]
    ids = [i for encoding in encodings for i in encoding.ids]
    assert ids == corpus.tokenizer.encode(text).ids


def test_tokenizer_sees_train_alone(tmp_path):
    """Text of valid and test does not change the tokenizer."""
    one = prepare(str(folder(tmp_path / "a")), 300, tmp_path)
    path = folder(tmp_path / "b", valid="zebra " * 500, test="quokka " * 500)
    two = prepare(str(path), 300, tmp_path)
    assert one.tokenizer.to_str() == two.tokenizer.to_str()


def test_vocabulary_too_large_for_the_text(tmp_path):
    """The message names the largest vocabulary that works, and it does work."""
    path = folder(tmp_path / "c")
    message = r"only (\d+) of the 4096 tokens could be learnt.*use a vocab_size of at most"
    refuse(tmp_path, path, message, 4096)
    with pytest.raises(DataError) as caught:
        prepare(str(path), 4096, tmp_path)
    most = int(str(caught.value).split("only ")[1].split()[0])
    assert prepare(str(path), most, tmp_path).tokenizer.get_vocab_size() == most
