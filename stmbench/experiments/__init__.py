"""Experiments: a YAML file becomes tasks, an engine does them, a store keeps the rows.

yaml_values    values with their lines
reading        from file to experiment
experiment     what a file says
steps          one analysis in a file
planning       tasks, and what they need
tasks          data that travels, doing it, whether it is done
estimating     about how long tasks take
remembered     what plans found out about models and sets
running        tasks in order, retries
ready_queue    tasks that wait for others, or for room
published      published values of a table
engines/       where tasks are done
"""
