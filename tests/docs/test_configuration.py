"""The page of what is done about a configuration says what the code does, about all that the original has."""

from tests.docs import configuration


def test_the_page_of_the_configuration_is_what_the_code_does() -> None:
    assert configuration.page().splitlines() == configuration.PAGE.read_text().splitlines(), (
        "docs/configuration.md is out of date: python -m tests.docs.configuration"
    )


def test_every_kind_that_is_known_is_in_the_facts_once() -> None:
    listed = [*configuration.facts("kind"), *configuration.facts("newer")]
    assert len(listed) == len(set(listed))
    assert configuration.known_kinds() - set(listed) == set(), "kinds without a line in tests/docs/original.txt"


def test_the_facts_and_the_code_have_the_same_main_keys() -> None:
    listed = configuration.facts("key")
    assert len(listed) == len(set(listed))
    assert configuration.known_keys() ^ set(listed) == set()
