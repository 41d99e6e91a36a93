"""HDE level H3: changes as columns of typed deltas, to be sent through the flow's window.

::

    events    Avro batches to columns and back, byte for byte
    literals  numbers, times and hex digits inside texts
    integers  columns of integers to class bytes and bits, with numpy
    predictor what the next number of a field will be, and how well that went
    memory    what both ends remember, bounded: entities, shapes, signatures, texts
    sheet     the sections of one unit
    encoder   rows to a sheet
    decoder   a sheet to rows

Both ends run the same code over the same memory in the same order, so nothing about eviction,
numbering or prediction has to be told.
"""
