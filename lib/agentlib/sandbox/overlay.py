"""The view of the working folder in which only what is on a list can be read, and changes go elsewhere (overlayfs).

The kernel opens the folder's files for an overlay with the rights of whoever made the overlay. So the list (a ruleset
of Landlock) binds the maker, a thread that does nothing else, and never the tool: it holds by the file itself, not by
a name, and for as long as the overlay is there. kept/fork_server.py makes it; apply.py takes over what a tool made.
"""

# the parts of a place for changes (scratch.py)
CHANGES, WORK, NOTHING = "changes", "work", "nothing"
# where a kept sandbox has the places for changes and their overlays, until the mounts of a call cover them
DOOR, READY = "/tmp/.agent-changes", "/tmp/.agent-ready"
OF_AN_OVERLAY = "user.overlay."  # how its marks begin
EMPTY, OVERLAY = "empty", "overlay"  # what the mounts of a call make anew of a path (mounts.py)
