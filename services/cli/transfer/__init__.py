"""Mail in and out of the store as files: mbox, Maildir, .eml.

A *source* yields `Folder`s of `Message`s, a *target* takes them; `importing` and `exporting` connect them with the
store. Both can be stopped and repeated: what is there already is left alone.
"""
