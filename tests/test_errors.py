"""What exceptions came from."""

from pure_cli.errors import causes


def test_causes_are_told_from_the_last_error_to_the_first_whether_raised_from_it_or_meanwhile():
    try:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise OSError("second") from None
        except OSError as error:
            raise ValueError("third") from error
    except ValueError as error:
        assert [str(one) for one in causes(error)] == ["third", "second", "'first'"]


def test_causes_that_go_in_a_circle_are_each_told_once():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert list(causes(one)) == [one, other]
