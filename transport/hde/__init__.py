"""Hierarchical delta encoding: few bytes, lossless.

::

    H0 same        nothing changed: only its name travels
    H1 dictionary  trained per schema; for first sight and after a gap
    H2 prefix      the old version as prefix; for blobs and baselines
    H3 typed       columns of typed deltas against the last values this flow carried
    H4 window      one zstd window per flow; H3 goes through it
    HB pages       XOR of dirty pages; for memory images

`unit` is the header that every one of them writes, `codec` the contract that they keep, `flow` what
a session uses: H4 and H3 in H4, chosen by cost, with H1 for the first unit.
"""
