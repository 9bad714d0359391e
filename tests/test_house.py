"""The map of the house is true: a module that came, went or changed its sentence is on it."""

from tests import house


def test_every_module_opens_with_a_sentence_and_the_page_shows_it():
    assert house.PAGE.read_text() == house.page(), "run `make format`"
    for folder, pattern in house.FOLDERS:
        for path in (house.ROOT / folder).glob(pattern):
            assert house.sentence(path), f"{path} opens without a sentence"
