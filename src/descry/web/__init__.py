"""The page: an HTTP server for one searcher on one computer, and the page it serves.

app.py       puts everything together; serving.py starts it and opens the browser
api/         what is asked and answered; shapes.py is what goes in and out, problems.py how a refusal looks
desk.py      the one place that holds gallery, model and inquiries; one thread works there, the others wait in line
indexing.py  a folder on its way into the gallery: one job at a time, in its own thread; folders.py says which may be
             chosen
safety.py    who may ask at all: host, origin, token, size
static/      the page: plain ES modules, no build step, no request to another host
"""
