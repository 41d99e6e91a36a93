"""HDE level H3: changes as columns of typed deltas, to be sent through the flow's window.

::

    avro      Avro's building blocks for many values at once
    deltas    the fields of a patch, and the bytes around their values
    events    Avro events to columns and back, byte for byte
    templates changes that look alike, read by one regular expression each
    literals  numbers, times and hex digits inside texts
    integers  columns of integers to class bytes and bits, with numpy
    groups    cells that belong together, however they lie among others
    predictor what the next number of a field will be, and how well that went
    numbers   the numbers in patches of a whole unit at once
    things    what both ends remember: entities, shapes, signatures, frames
    memory    and how long: all of it is bounded
    documents texts of documents as a shape and its leaves
    codes     how one changed field is written
    sheet     the sections of one unit
    batch     a unit with its records and events taken apart
    encoder   records and rows to a sheet; patches: their numbers; contents: what else changed
    decoder   a sheet to records and rows; signing: how changes are written; revival: their contents

Both ends run the same code over the same memory in the same order, so nothing about eviction,
numbering or prediction has to be told.
"""
