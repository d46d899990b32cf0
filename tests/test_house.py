"""Rules of the sources themselves."""

import inside


def test_every_private_name_that_tests_use_is_where_the_table_says():
    for name in [*inside.NAMES, *inside.MODULES]:
        getattr(inside, name)
    assert not inside.NAMES.keys() & inside.MODULES.keys()
