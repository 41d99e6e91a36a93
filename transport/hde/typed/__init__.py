"""HDE level H3: changes as columns of typed deltas, to be sent through the flow's window.

::

    avro      Avro's building blocks for many values at once
    deltas    the fields of a patch, and the bytes around their values
    events    Avro events to columns and back, byte for byte
    templates patches that look alike, read by one regular expression each
    literals  numbers, times and hex digits inside texts
    integers  columns of integers to class bytes and bits, with numpy
    predictor what the next number of a field will be, and how well that went
    things    what both ends remember: entities, shapes, signatures, frames
    memory    and how long: all of it is bounded
    documents texts of documents as a shape and its leaves
    codes     how one changed field is written
    sheet     the sections of one unit
    batch     a unit with its records and events taken apart
    encoder   records and rows to a sheet; contents: documents and patches
    decoder   a sheet to records and rows; revival: documents and patches

Both ends run the same code over the same memory in the same order, so nothing about eviction,
numbering or prediction has to be told.
"""
