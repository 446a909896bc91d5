"""Lines that type checkers must refuse, each with a mark: which of `test_checkers.FINDINGS` it is.

Where a checker has another name for it here, the mark says so (`# E: argument mypy=index`), and where it does not see
what is wrong: `ty=nothing`.
"""
