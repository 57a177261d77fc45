"""`dbaf anonymize --album`: the pictures of a run belong together."""

from typing import TYPE_CHECKING

from dbaf.errors import PictureError

if TYPE_CHECKING:
    from dbaf.album import Album
    from dbaf.batch import Task
    from dbaf.pipeline import Pipeline


def look_through(tasks: "list[Task]", pipeline: "Pipeline", min_face: float) -> "Album":
    """Who is in the pictures. Those that cannot be read are left out here: the run tells about them."""
    from dbaf.album import Album
    from dbaf.images import read_picture
    from dbaf.progress import progress_bar

    album = Album(pipeline, min_face)
    with progress_bar("who is who", len(tasks)) as (update, _):
        for number, task in enumerate(tasks, 1):
            try:
                picture = read_picture(task.source)
                if picture.record is None:  # an output of ours is refused later
                    album.look(task.source, picture.rgb)
            except PictureError:
                pass
            update(number, len(tasks), f"who is in {task.source.name}")
    return album
