"""What a configuration refers to is found wherever it stands."""

from __future__ import annotations

from pathlib import Path

from medic8.local.referred import files_of, variables_of


def test_variables_and_files_are_found_and_a_file_that_was_written_is_another(tmp_path: Path) -> None:
    """In every table, relative to the configuration; what is wrong is for others to tell."""
    file, secret = tmp_path / "medic8.toml", tmp_path / "a.token"
    file.write_text(
        '[[alerts.source]]\ntoken_env = "A"\nkey_file = "a.token"\n[[notify]]\nurl_env = "B"\n'
        '[journal]\npassword_file = "~/none"\n[[target]]\npassword_env = "A"\n'
    )
    home = {"HOME": str(tmp_path)}
    assert variables_of(file) == ("A", "B")
    missing = files_of(file, home)
    assert missing == (f"{secret} is not there", f"{tmp_path}/none is not there")
    secret.write_text("one")
    first = files_of(file, home)
    assert first[0] != missing[0]
    secret.write_text("another")
    assert files_of(file, home)[0] != first[0]
    file.write_text("[[target")
    assert (variables_of(file), files_of(file, home)) == ((), ())
