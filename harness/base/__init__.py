"""What everything else rests on: errors, import strings, atomic files."""
