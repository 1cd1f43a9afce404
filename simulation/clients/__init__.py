"""The people of the simulated hospital: their habits, and their connections of plain bytes."""
