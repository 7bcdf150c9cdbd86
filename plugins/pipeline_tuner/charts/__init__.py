"""Every chart, defined once: a function from typed records to an Altair chart (Vega-Lite), a module each.

`look.save` renders one for the written analysis without a browser; the page draws the same with a pointer to it.
A chart says what is drawn, `look` says in which colours: the same specification serves light and dark.
"""
