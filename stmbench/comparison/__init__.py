"""Two versions compared: `stored` from two stores, `live` by running both."""
