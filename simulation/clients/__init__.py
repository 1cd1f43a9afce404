"""The people of the simulated hospital: what they do, with which habits, over connections of plain bytes."""
