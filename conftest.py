"""What holds for every test: how long an example takes is no reason for it to fail."""

from hypothesis import settings

settings.register_profile(
    "oqto", parent=settings.get_profile(settings.get_current_profile_name()), deadline=None
)
settings.load_profile("oqto")
