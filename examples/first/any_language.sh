# No package, no Python: a file with the parameters, a file for the results.
cat "$TRIALDECK_PARAMETERS"
echo '{"name": "loss", "step": 0, "value": 0.75}' >> "$TRIALDECK_METRICS"
echo '{"name": "loss", "final": true, "value": 0.5}' >> "$TRIALDECK_METRICS"
echo "left for later" > "$TRIALDECK_OUTPUT_DIR/notes.txt"
