"""What the emulator sees: things selected, followed and removed by classical methods.

`editing` reads and writes videos; it uses `segmenter` (a click to a mask), `tracker` (a
mask through a clip) and `removal` (what is behind a mask), which share `scene` (the
camera's motion, the background) and `regions`. Nothing here knows the service.
"""
