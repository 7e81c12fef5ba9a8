SELECT ST_GEOGFROMGEOJSON('{"type": "Point", "coordinates": [0, 0]}') IS NOT NULL
