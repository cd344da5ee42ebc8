"""Measuring: time, energy, memory and operations of models, and the statistics of the samples.

timing       clock             timers per device
             interleaving      warm-up, and rounds of samples in random order
             throughput_batch  how the batch size of the throughput is chosen
             latency           warm and cold passes, CUDA graph replay
             probe             the fixed workload that runs alongside the models
             backend_settings  TF32, cuDNN, allocator; torch.compile, one graph per model
machine      environment       facts about machine and software
             machine_watch     disturbances on processor and GPU
             nvml, energy      NVIDIA's management library; joules per image
             memory            peak memory, in a child process on the CPU
operations   counting/         parameters, multiply-adds, activations, memory traffic
features     nearest_neighbours  the weighted nearest-neighbour classifier
detection    detection/        average precision of boxes and masks, and its bootstrap
statistics   statistics        intervals, Holm's correction, which rounds are dropped
             bootstrap         every interval that comes from resampling
             proportions       intervals of hits and of values between 0 and 1
             repeated_training differences over training seeds as well as images
             calibration       expected calibration error
             effects           paired and unpaired differences, exact tests, and the verdict on them
"""
