/** What every page loads: the small elements that stand in the frame of base.html. */
