"""placeholder"""


class Demo:
    def __init__(self, *a):
        pass

    def run(self):
        return 0
