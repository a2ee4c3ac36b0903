TARGETS = []
def run_part(context):
    raise NotImplementedError
