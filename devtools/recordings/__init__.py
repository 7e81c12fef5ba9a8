"""recordings: what a first look shows, as files for the README: `make demo` in a terminal, and a tour of the page.

terminal    a command's output as an animated SVG
film        pictures of a browser's page as an animated WebP
tour        what the film of the coverage page shows
"""
