"""Measuring: time, energy, memory and operations of models, and the statistics of the samples.

timing       clock             timers per device
             interleaving      warm-up, and rounds of samples in random order
             throughput_batch  how the batch size of the throughput is chosen
             latency           warm and cold passes, CUDA graph replay
             probe             the fixed workload that runs alongside the models
             compilation       torch.compile, one graph per model
             backend_settings  TF32, cuDNN, allocator
machine      environment       facts about machine and software
             interference      disturbances on the processor
             machine_watch     disturbances on processor and GPU
             nvml, energy      NVIDIA's management library; joules per image
             memory            peak memory; memory_child is its child process
operations   counting/         parameters, multiply-adds, activations, memory traffic
statistics   statistics        intervals, Holm's correction
             bootstrap         every interval that comes from resampling
             outliers          which rounds are dropped
             proportions       intervals of hits and of values between 0 and 1
             differences       paired and unpaired differences, with exact tests
             repeated_training differences over training seeds as well as images
             calibration       expected calibration error
             verdicts          from an effect to better, worse, same or inconclusive
"""
