"""What a site configures: targets, and where Medic8 keeps its own state."""

from medic8.settings.load import load_settings
from medic8.settings.places import CONFIGURATION, default_home
from medic8.settings.settings import Settings

__all__ = ["CONFIGURATION", "Settings", "default_home", "load_settings"]
