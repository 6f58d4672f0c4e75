"""Fields of resources and keys of the configuration say what they mean, for the reference is made of that."""

from deploy.site.configuration import documents
from deploy.site.field_docs import undocumented
from deploy.site.resources import all_types

# Their values are the document's own name.
_HEAD = frozenset({"api_version", "kind"})


def test_every_field_of_a_resource_says_what_it_means() -> None:
    missing = undocumented((type.spec_class for type in all_types()), except_for=_HEAD)
    assert not missing, f"write what each means as a string under it (see deploy/site/field_docs.py): {missing}"


def test_every_key_of_the_configuration_says_what_it_means() -> None:
    missing = undocumented(documents(), except_for=_HEAD)
    assert not missing, f"write what each means as a string under it (see deploy/site/field_docs.py): {missing}"
