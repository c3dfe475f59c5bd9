"""No value, however hostile, changes the words around it: proved by running real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlcli.spec.shell import UnquotableError, fill

SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]
HOLE = "\x01"
PLAIN = "VALUE"
PREAMBLE = 'p() { printf \'[%s]\' "$#" "$@"; }\nV=v A=a n=3\ncd "$1" || exit 9\n'

NASTY = [
    "", " ", "a b", "it's", '"', "'", "\\", "\\\\", "$", "$(echo pwned)", "`echo pwned`", "${V}", "$V", "a\nb", "\n", "\nEOF\n",
    "; echo pwned", "&& echo pwned", "| cat", "> out", "< /etc/passwd", "2", "0", "-n", "--x=1", "*", "?", "[a]", "~", "~root",
    "{a,b}", "{1..3}", "a,b", "1..3", "#", "# x", "!", "!!", "if", "then", "A=1", "V=2", "\\n", "%s", "%n", "EOF", "'\\''", "'\"'\"'",
    "\r\n", "\t", "é", "日本", "x" * 300, ")", "(", "))", "esac", ";;", "$((1+1))", "<<EOF", "\\\n", "a\\", "$'x'", '$"x"', "_x", "=", ":", "@",
]  # fmt: skip
values = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.sampled_from("'\"\\$`(){}[]<>|&;#!~*?=%+,.:@^- \t\n\r0123456789azAV_é"), max_size=12),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0\x01"),
        max_size=8,
    ),
)

before = st.sampled_from(["", "", "a", "-x=", "--path=/", "$V", "$V/", "${V}", "$n", "'s q'", '"d q"', "\\ ", "{", "~", "x:~", "$(echo y)", "`echo y`"])  # fmt: skip
after = st.sampled_from(["", "", "b", "/c", "$V", "'s q'", '"d q"', "}", ",b}", ".txt", "\\;"])
inside = st.sampled_from(["", "", "a ", "$V", "${V}", "\\\\ ", "(", "'", "#", "; ", "\\n", "{"])
single_inside = st.sampled_from(["", "a ", "$V", "\\", '"', "`", "#", "$("])


def _word_with_a_hole() -> st.SearchStrategy[str]:
    bare = st.builds("{}{}{}".format, before, st.just(HOLE), after)
    double = st.builds('{}"{}{}{}"{}'.format, before, inside, st.just(HOLE), inside, after)
    single = st.builds("{}'{}{}{}'{}".format, before, single_inside, st.just(HOLE), single_inside, after)
    default = st.builds("{}${{U:-{}}}{}".format, before, st.just(HOLE), after)
    simple = st.one_of(bare, double, single, default, st.just(HOLE + HOLE))

    def nested(word: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        # the dot keeps the value's own newlines from standing at the end, where a substitution drops them
        return st.one_of(
            word.map(lambda text: f"\"$(printf '%s.' {text})\""),
            word.map(lambda text: f"\"$(case x in (y) ;; x) printf '%s.' {text} ;; esac)\""),
            word.map(lambda text: f"\"$( (printf '%s.' {text}) )\""),
            word.map(lambda text: f"\"$(# it's a comment\nprintf '%s.' {text})\""),
            word.map(_in_backticks),
        )

    return st.recursive(simple, nested, max_leaves=3)


def _in_backticks(word: str) -> str:
    escaped = f"printf '%s.' {word}".replace("\\", "\\\\").replace("`", "\\`").replace("$", "\\$")
    return f'"$(x=`{escaped}`; printf \'%s.\' "$x")"'


def _commands() -> st.SearchStrategy[str]:
    word = _word_with_a_hole()
    line = st.sampled_from(["", "${V}", '"$V ', '"', "'", "\\\\", "$(echo y)", "\\$"])
    return st.one_of(
        word.map(lambda text: f"p one {text} two\n"),
        word.map(lambda text: f'x={text}; p "$x"\n'),
        word.map(lambda text: f'p {HOLE} {HOLE}x; {_in_backticks(text)[3:-21]}; p "$x"\n'),
        st.just(f'p {HOLE}>file; p "$(cat file)"; p 1{HOLE}2>file; cat file; rm -f file\n'),
        st.just(f"p one # {HOLE}\np two\n"),
        st.just(f'if p {HOLE}; then p {HOLE}; else p no; fi; for x in {HOLE} z; do p "$x"; done\n'),
        st.just(f"case {HOLE} in {HOLE}) p same;; *) p other;; esac\n"),
        st.just(f"(p {HOLE}) | cat; {{ p {HOLE}; }} && p {HOLE} || p no\n"),
        st.builds("cat <<EOF\nfirst\n{}{}{}\nlast\nEOF\np after\n".format, line, st.just(HOLE), line),
        st.builds(
            "cat <<-'E F' && p {}\n\tfirst\n\t{}{}x\n\tE F\np after\n".format, st.just(HOLE), line, st.just(HOLE)
        ),
        st.just(f'cat <<EOF\n$(p {HOLE})`p {HOLE}` "{HOLE}"\nEOF\n'),
        st.just(f'p "$(cat <<EOF\n<{HOLE}>\nEOF\n)" {HOLE}\n'),
        st.just(f'p ${{V#{HOLE}}} "${{V}}" ${{V%{HOLE}}} $((n + 1)){HOLE}\n'),
    )


def _filled(command: str, value: str) -> str:
    holes = [(at, at + 1) for at, character in enumerate(command) if character == HOLE]
    return fill(command, holes, [value] * len(holes))


def _run(shell: str, script: str, folder: str) -> list[bytes]:
    done = subprocess.run(
        [shell, "-s", folder], input=(PREAMBLE + script).encode(), capture_output=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/home/nobody", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    return [*done.stdout.split(b"\0"), done.stderr]


@settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS)
@given(cases=st.lists(st.tuples(_commands(), values), min_size=20, max_size=60))
def test_no_value_changes_the_words_around_it(shell, cases, tmp_path_factory):
    kept = []
    for command, value in cases:
        try:
            kept.append((command, value, _filled(command, value)))
        except UnquotableError:
            continue
    mark = "printf '\\0'\n"
    folder = str(tmp_path_factory.getbasetemp())
    plain = _run(shell, "".join(mark + _filled(command, PLAIN) for command, _, _ in kept), folder)
    hostile = _run(shell, "".join(mark + filled for _, _, filled in kept), folder)
    assert plain[-1] == b""  # the templates themselves are sound
    for case, expected, got in zip(kept, plain[1:-1], hostile[1:-1], strict=True):
        assert got == expected.replace(PLAIN.encode(), case[1].encode()), case
    assert hostile[-1] == b""


def test_the_text_around_the_holes_stays_byte_for_byte():
    command = "awk '{print $1}' a \x01 ${V} {a,b} \"$(x `y`)\" <<E\n\x01 $V\nE\n"
    assert _filled(command, PLAIN) == command.replace(HOLE, PLAIN)


def test_a_value_is_no_operator_of_a_condition():
    for value in ("-z", "-eq", "==", "=", "!", "]]", "("):
        script = _filled(f'[[ {HOLE} == x ]] || p "{HOLE}"; [[ x != {HOLE} && {HOLE} != x ]] && p last\n', value)
        assert _run("bash", script, ".") == [f"[1][{value}][1][last]".encode(), b""], value
    assert _filled(f"p {HOLE} --rate {HOLE}", "-5") == "p -5 --rate -5"
