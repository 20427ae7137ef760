// The kernels of this addon, by source file.

#pragma once

#include "tensorflow/c/tf_status.h"

namespace florence2 {

void registerFewRows(TF_Status* status);
void registerOnePass(TF_Status* status);

}  // namespace florence2
