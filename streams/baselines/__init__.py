"""What both ends of a link hold by name before a flow begins. Pure.

::

    contents   the newest documents as a unit that both ends take for sent
    anchors    one after the other against the one before, a whole one after so many; what to prune
    directory  what is held, by name, of every region within its budget
"""
