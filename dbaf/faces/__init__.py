"""Faces: find them, cut them out as FFHQ does, put new ones back."""

from dbaf.faces.align import crop, ffhq_quad, warp
from dbaf.faces.choose import Selection
from dbaf.faces.detect import FaceFinder
from dbaf.faces.face import Face, main_face
from dbaf.faces.paste import paste

__all__ = ["Face", "FaceFinder", "Selection", "crop", "ffhq_quad", "main_face", "paste", "warp"]
