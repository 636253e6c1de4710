"""Pair sets: pictures in, pairs that give nothing away out, and the search for what might."""
